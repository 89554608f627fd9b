"""Which cluster and topic this is, so that a state is never read on from another log."""

from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from sluicegate.errors import Problem


def topic_identity(config: dict[str, Any], *topics: str) -> dict[str, str]:
    """Ids of the cluster and of the topics, by name.

    Raises:
        Problem: a topic is not there, or the broker does not answer.
    """
    admin = AdminClient(config)
    try:
        cluster = admin.describe_cluster(request_timeout=30).result().cluster_id
        described = admin.describe_topics(TopicCollection(list(topics)), request_timeout=30)
        ids = {topic: str(answer.result().topic_id) for topic, answer in described.items()}
    except KafkaException as error:
        raise Problem(
            f"{', '.join(topics)} cannot be described",
            str(error.args[0].str()),
            "`sluicegate topics create` makes the topics",
        ) from error
    return {"cluster": str(cluster), **ids}
