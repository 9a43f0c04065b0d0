"""Tests of the suite itself: its verdicts, reports, instruments, and that a run leaves nothing behind."""
