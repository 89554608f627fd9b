"""Files of transactions in, files of scores out."""
