"""Which cluster and topic this is, so that a state is never read on from another log."""

from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from sluicegate.errors import Problem


def topic_identity(config: dict[str, Any], topic: str) -> dict[str, str]:
    """Ids of the cluster and of the topic, by name.

    Raises:
        Problem: the topic is not there, or the broker does not answer.
    """
    admin = AdminClient(config)
    try:
        cluster = admin.describe_cluster(request_timeout=30).result().cluster_id
        described = admin.describe_topics(TopicCollection([topic]), request_timeout=30)
        topic_id = described[topic].result().topic_id
    except KafkaException as error:
        raise Problem(
            f"topic {topic} cannot be described",
            str(error.args[0].str()),
            "`sluicegate topics create` makes the topics",
        ) from error
    return {"cluster": str(cluster), topic: str(topic_id)}
