"""From transactions in Kafka to alerts in Kafka: router, legs log, worker, checkpoints."""
