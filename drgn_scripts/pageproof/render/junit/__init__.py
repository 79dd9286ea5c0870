# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports as JUnit XML, for CI servers."""
