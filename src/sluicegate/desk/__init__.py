"""The desk where bank and police sit side by side: cases, measures, lists, and who did what."""
