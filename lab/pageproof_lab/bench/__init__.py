# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof lab bench`: the engine and `verify` beside their peers, on the same targets.

The programs that these modules start are in lab/bench_programs/.
"""
