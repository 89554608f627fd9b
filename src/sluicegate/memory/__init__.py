"""What is remembered of each account, and the kernel that reads and updates it. No IO."""
