"""The counter asks before it pays: checks of intended transactions, over HTTP and on a page."""
