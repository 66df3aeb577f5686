"""What is promised of intervals."""

import unittest

from opening_hours import is_open, merged


class Merged(unittest.TestCase):
    def test_apart_they_stay_as_they_are(self) -> None:
        self.assertEqual(merged([(840, 1080), (540, 720)]), [(540, 720), (840, 1080)])

    def test_what_overlaps_is_joined(self) -> None:
        self.assertEqual(merged([(540, 720), (700, 840)]), [(540, 840)])

    def test_what_touches_is_joined(self) -> None:
        self.assertEqual(merged([(540, 720), (720, 840)]), [(540, 840)])

    def test_what_lies_inside_changes_nothing(self) -> None:
        self.assertEqual(merged([(540, 1080), (600, 660)]), [(540, 1080)])


class Open(unittest.TestCase):
    def test_the_end_is_closed(self) -> None:
        self.assertTrue(is_open([(540, 720)], 540))
        self.assertFalse(is_open([(540, 720)], 720))
