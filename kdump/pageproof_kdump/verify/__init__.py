# SPDX-License-Identifier: GPL-2.0-or-later
"""``pageproof kdump verify``: is this dump whole?"""
