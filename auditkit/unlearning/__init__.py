"""Unlearning methods that an owner may have used, one file each behind one interface."""
