"""The tellers' page: works without JavaScript, in Chinese and English, by keyboard, on paper."""
