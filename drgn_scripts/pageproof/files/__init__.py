# SPDX-License-Identifier: GPL-2.0-or-later
"""The room of files: saved reports, baselines, and what the user names to be read."""
