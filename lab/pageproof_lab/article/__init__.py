# SPDX-License-Identifier: GPL-2.0-or-later
"""`pageproof lab article`: the article's debugging session, repeated and checked step by step."""
