"""Google Kubernetes Engine: a JobSet, one job a slice and one pod a host.

JobSet makes all jobs again when one fails, as often as `maxRestarts` says; a defect or
a user's mistake fails it for good.
"""

import dataclasses
import pathlib
import tempfile
from typing import Any

import yaml

from tools.pod import job as job_lib
from tools.pod.accelerators import Slice
from tools.pod.job import Bucket, Job, Run
from xinst_jax.errors import FAILED, MISTAKEN

_CONTAINER = "xinst-jax"
_MOUNTED = "/mnt/xinst"
_FINAL = [FAILED, MISTAKEN]
# Without caches of names: other hosts write what this one reads.
_MOUNT_OPTIONS = (
    "implicit-dirs,metadata-cache:ttl-secs:0,metadata-cache:negative-ttl-secs:0"
)


@dataclasses.dataclass(frozen=True)
class Launch:
    """A run on GKE.

    Attributes:
      job: what runs.
      workdir: where.
      slice: on what.
      slices: how many of them.
      image: the container's, with Python 3.11 and bash.
      service_account: the Kubernetes one that may read and write the bucket.
      namespace: the Kubernetes one.
      spot: whether on spot nodes.
    """

    job: Job
    workdir: Bucket
    slice: Slice
    slices: int
    image: str
    service_account: str
    namespace: str
    spot: bool

    def apply(self) -> list[str]:
        """The command that takes the manifest from its standard input."""
        return ["kubectl", "--namespace", self.namespace, "apply", "--filename", "-"]

    def logs(self) -> list[str]:
        """The command that follows the logs of all pods."""
        label = f"jobset.sigs.k8s.io/jobset-name={self.job.name}"
        return [
            *("kubectl", "--namespace", self.namespace, "logs", "--follow", "--prefix"),
            *(f"--selector={label}", f"--container={_CONTAINER}"),
            f"--max-log-requests={self.slices * self.slice.hosts}",
        ]

    def script(self) -> str:
        """What a pod runs."""
        command = (*self.job.command, f"--workdir={_MOUNTED}/{self.workdir.path}")
        archive = f"{_MOUNTED}/{job_lib.archived(self.job, self.workdir)}"
        return job_lib.script("gke_pod.sh", {"ARCHIVE": archive}, command)

    def manifest(self) -> str:
        """The JobSet, as YAML."""
        chips = {"google.com/tpu": self.slice.host_chips}
        container = {
            "name": _CONTAINER,
            "image": self.image,
            "command": ["bash", "-c", self.script()],
            # Of JAX's coordinator, and of the TPU runtime between hosts and slices.
            "ports": [{"containerPort": port} for port in (8482, 8471, 8080)],
            "resources": {"requests": chips, "limits": chips},
            "volumeMounts": [{"name": "bucket", "mountPath": _MOUNTED}],
        }
        bucket = {
            "driver": "gcsfuse.csi.storage.gke.io",
            "volumeAttributes": {
                "bucketName": self.workdir.name,
                "mountOptions": _MOUNT_OPTIONS,
            },
        }
        selector = {
            "cloud.google.com/gke-tpu-accelerator": self.slice.node,
            "cloud.google.com/gke-tpu-topology": self.slice.topology,
        }
        pod: dict[str, Any] = {
            "restartPolicy": "Never",
            "serviceAccountName": self.service_account,
            "terminationGracePeriodSeconds": 120,
            "nodeSelector": selector,
            "containers": [container],
            "volumes": [{"name": "bucket", "csi": bucket}],
        }
        if self.spot:
            selector["cloud.google.com/gke-spot"] = "true"
            pod["tolerations"] = [
                {
                    "key": "cloud.google.com/gke-spot",
                    "operator": "Equal",
                    "value": "true",
                    "effect": "NoSchedule",
                }
            ]
        final = {"containerName": _CONTAINER, "operator": "In", "values": _FINAL}
        job = {
            "parallelism": self.slice.hosts,
            "completions": self.slice.hosts,
            "completionMode": "Indexed",
            "backoffLimit": 0,
            "podFailurePolicy": {
                "rules": [{"action": "FailJob", "onExitCodes": final}]
            },
            "template": {
                "metadata": {"annotations": {"gke-gcsfuse/volumes": "true"}},
                "spec": pod,
            },
        }
        failure = {
            "maxRestarts": self.job.restarts,
            "rules": [
                {"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
            ],
        }
        one_a_pool = {
            "alpha.jobset.sigs.k8s.io/exclusive-topology": (
                "cloud.google.com/gke-nodepool"
            )
        }
        jobset = {
            "apiVersion": "jobset.x-k8s.io/v1alpha2",
            "kind": "JobSet",
            "metadata": {"name": self.job.name, "annotations": one_a_pool},
            "spec": {
                "failurePolicy": failure,
                "replicatedJobs": [
                    {
                        "name": "slice",
                        "replicas": self.slices,
                        "template": {"spec": job},
                    }
                ],
            },
        }
        return yaml.dump(jobset, Dumper=_Dumper, sort_keys=False, width=2**16)


def plan(launch: Launch) -> str:
    """What is run, in words and commands."""
    upload = job_lib.upload(launch.job, launch.workdir, "FILE.tar.gz")
    uploads = "\n".join(map(job_lib.shown, upload))
    return f"""\
# 1. The code goes into the bucket.
{uploads}

# 2. The manifest below goes to the cluster, which starts and restarts the pods.
{job_lib.shown(launch.apply())}

# 3. To follow all pods:
{job_lib.shown(launch.logs())}

# The manifest
{launch.manifest()}"""


def start(launch: Launch, run: Run = job_lib.run) -> None:
    """Carries the plan out, up to the cluster's part.

    Raises:
      UserError: a command failed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        code = str(pathlib.Path(temporary) / "code.tar.gz")
        for command in job_lib.upload(launch.job, launch.workdir, code):
            job_lib.checked(run, command)
    job_lib.checked(run, launch.apply(), launch.manifest())
    job_lib.say(f"started; to follow it:\n{job_lib.shown(launch.logs())}")


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as lines, and equal parts twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Whether a part is written again where it comes again: always."""
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
