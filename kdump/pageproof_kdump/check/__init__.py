# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof kdump check``: is this machine ready for a crash?"""
