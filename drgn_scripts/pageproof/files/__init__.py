# SPDX-License-Identifier: GPL-2.0-or-later
"""The room of files: saved reports, baselines, files that the user names, atomic writing."""
