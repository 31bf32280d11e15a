"""kopf's settings."""

import itertools
from collections.abc import Iterator

import kopf

from inferqueue_operator.resource import GROUP


class EndlessPatience:
    """Pauses between kopf's attempts, in seconds, without end.

    With an end, kopf gives up the whole operator: because of an API server that is away for a minute, or because of one
    namespace that is deleted while the others are to be served.
    """

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.5, 1, 2, 4), itertools.repeat(8))


def configure(settings: kopf.OperatorSettings) -> None:
    """Set what kopf would do otherwise where we have no use for it.

    No handler of ours needs a finalizer or an annotation, so that deleting a namespace never waits for the operator;
    the names are set all the same, should one ever be added.
    """
    settings.persistence.finalizer = f"{GROUP}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)
    # Looking for CRDs and namespaces would need rights in the whole cluster.
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 30
    settings.networking.request_timeout = 10
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = EndlessPatience()
    settings.execution.default_backoff = 5
    settings.queueing.exit_timeout = 1
    # Events are ours, on transitions only.
    settings.posting.enabled = False
