"""What the original was seen to do in stories of several steps, told again to an agent of ours.

``recordings/`` holds what was seen; a test that tells one of them again says so with ``@replays``. Single requests
and their answers are in ``tests/http/observed``, validated files in ``tests/config``. What differs on purpose is
written at the comparison, with the row of docs/deviations.md.
"""
