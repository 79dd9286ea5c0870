# SPDX-License-Identifier: GPL-2.0-or-later
"""Crash capture: is a machine ready for a crash, and is the dump that it left whole?

The commands of ``pageproof kdump`` (:mod:`pageproof_kdump.commands`). This package imports
``pageproof``; ``pageproof`` imports it only to fill the command line
(:mod:`pageproof.front.kdump`).
"""
