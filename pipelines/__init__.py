"""Verifier, models and storage joined into things that happen: enrolments, checks, lessons.

Start at `lesson_engine.LessonEngine`, then `check.FrameChecker` (one answer), `enrolment.Enroller`
and `archive.Archive` (what is kept of all of it). `evaluation` and `calibration_report` measure a
folder of people.
"""
