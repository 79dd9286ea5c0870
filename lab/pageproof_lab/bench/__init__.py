# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof lab bench`: compare the engine and `verify` with other programs on the same targets.

lab/bench_programs/ has the programs that these modules start.
"""
