"""What the bank and the desk exchange: transactions, alerts, measures, money. No IO."""
