"""Patterns and judgements over features. No IO."""
