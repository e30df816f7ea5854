"""What no schema can say of deploy/compose or deploy/kubernetes, whichever is named. Prints each problem, and fails if
there is one.

Needs what deploy/requirements.txt names; deploy/check runs it.
"""

import pathlib
import sys

import yaml
from cloudcoil.models.prometheus_operator import v1 as operator
from pydantic import ValidationError

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
COMPOSE = DEPLOY / "compose"
KUBERNETES = DEPLOY / "kubernetes"
problems = []


def problem(where, what):
    problems.append(f"deploy/{where.relative_to(DEPLOY)}: {what}")


def load(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def compose():
    """Every service is closed as far as it can be, and every file it mounts is there."""
    path = COMPOSE / "compose.yaml"
    [file] = load(path)
    for name, service in file["services"].items():
        def expect(is_so, what):
            if not is_so:
                problem(path, f"{name}: {what}")

        expect(service.get("read_only") is True, "its root can be written")
        expect(service.get("cap_drop") == ["ALL"], "it keeps capabilities")
        expect("no-new-privileges:true" in service.get("security_opt", []), "it can gain privileges")
        expect(not service.get("privileged") and not service.get("cap_add"), "it has privileges")
        expect("healthcheck" in service, "nobody asks how it is")
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        expect({"cpus", "memory", "pids"} <= limits.keys(), "its resources are not bounded")
        tag = service["image"].rpartition(":")[2]
        expect(tag[:1].isdigit() or tag[:1] == "v" and tag.count(".") == 2, "its image is not pinned")
        for port in service.get("ports", []):
            expect(str(port).startswith("127.0.0.1:"), f"port {port} is open to other machines")
        for volume in service.get("volumes", []):
            source = volume.get("source") if isinstance(volume, dict) else volume.split(":")[0]
            # Secrets are put there by whoever installs; the folder has to be there.
            if source.startswith("."):
                expect((COMPOSE / source).exists(), f"{source} is not there")
            else:
                expect(source in file["volumes"], f"there is no volume {source}")
        for secret in service.get("secrets", []):
            expect(secret in file["secrets"], f"there is no secret {secret}")


def monitoring():
    """Prometheus and Grafana are set up as everywhere else, but for where they find what they ask."""
    for path, origin, where in [
        (COMPOSE / "prometheus.yml", DEPLOY / "prometheus/prometheus.yml", "scrape_configs"),
        (COMPOSE / "grafana-datasource.yml", DEPLOY / "grafana/provisioning/datasources/prometheus.yml", "datasources"),
    ]:
        [ours], [theirs] = load(path), load(origin)
        elsewhere = {"url", "static_configs"}
        named = [[(key, value) for key, value in item.items() if key not in elsewhere] for item in theirs.pop(where)]
        for item in ours.pop(where):
            kept = [(key, value) for key, value in item.items() if key not in elsewhere]
            if kept not in named and item.get("job_name") != "prometheus":
                problem(path, f"{item} is not as in deploy/{origin.relative_to(DEPLOY)}")
        if ours != theirs:
            problem(path, f"is not as deploy/{origin.relative_to(DEPLOY)}")


def kustomization():
    """Every manifest is listed, and every one that is listed is there."""
    path = KUBERNETES / "kustomization.yaml"
    [file] = load(path)
    listed = set(file["resources"])
    there = {other.name for other in KUBERNETES.glob("*.yaml")} - {path.name, "secret.example.yaml"}
    for name in sorted(listed - there):
        problem(path, f"lists {name}, which is not there")
    for name in sorted(there - listed):
        problem(path, f"does not list {name}")
    for generator in file["configMapGenerator"]:
        for name in generator["files"]:
            if not (KUBERNETES / name).exists():
                problem(path, f"makes a config map of {name}, which is not there")


def component():
    """What the component for identities adds finds its place in the manifests."""
    path = DEPLOY / "identity/kubernetes-gateway/kustomization.yaml"
    [file] = load(path)
    documents = [document for other in KUBERNETES.glob("*.yaml") for document in load(other)]
    for patch in file["patches"]:
        target = patch["target"]
        found = [
            document
            for document in documents
            if document["kind"] == target["kind"] and document["metadata"]["name"] == target["name"]
        ]
        if len(found) != 1:
            problem(path, f"{target} is not one of deploy/kubernetes")
            continue
        for step in yaml.safe_load(patch["patch"]):
            place = found[0]
            for part in step["path"].split("/")[1:-1]:
                try:
                    place = place[int(part) if isinstance(place, list) else part]
                except (KeyError, IndexError, ValueError):
                    problem(path, f"{step['path']} is not in {target}")
                    break
            else:
                if not isinstance(place, list) or step["op"] != "add":
                    problem(path, f"{step['path']} of {target} is no list to add to")


def operator_resources():
    """Custom resources fit their definitions, which the schemas of Kubernetes do not hold."""
    for name in ["servicemonitor.yaml", "prometheusrule.yaml"]:
        path = KUBERNETES / name
        for document in load(path):
            model = getattr(operator, document["kind"])
            try:
                read = model.model_validate(document)
            except ValidationError as error:
                problem(path, str(error))
                continue
            # What the definition does not know is left out when it is written again.
            written = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
            for key in sorted(lost(document, written)):
                problem(path, f"{key} is not in the definition")


def lost(before, after, at=""):
    """The keys of `before` that `after` does not have."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{at}.{key}".lstrip(".")
            else:
                yield from lost(value, after[key], f"{at}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        for index, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, f"{at}[{index}]")


def rules():
    """The groups of the custom resource are those that Prometheus is configured with."""
    path = KUBERNETES / "prometheusrule.yaml"
    [file] = load(path)
    groups = [group for name in ["rules.yml", "alerts.yml"] for group in load(DEPLOY / "prometheus" / name)[0]["groups"]]
    if file["spec"]["groups"] != groups:
        problem(path, "its groups are not those of deploy/prometheus; run deploy/kubernetes/generate-rules")


if sys.argv[1] == "compose":
    compose()
    monitoring()
else:
    kustomization()
    component()
    operator_resources()
    rules()
for line in problems:
    print(line, file=sys.stderr)
sys.exit(bool(problems))
