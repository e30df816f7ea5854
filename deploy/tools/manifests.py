"""What no schema can say of the Compose files, the Kubernetes manifests or what is for HAProxy, whichever is named. Prints each
problem, and fails if there is one.

Needs what deploy/requirements.txt names; deploy/check runs it.
"""

import pathlib
import re
import sys
import tomllib

import yaml
from cloudcoil.models.prometheus_operator import v1 as operator
from pydantic import ValidationError

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
COMPOSE = DEPLOY / "compose"
COMPOSE_REPLICAS = DEPLOY / "compose-replicas"
KUBERNETES = DEPLOY / "kubernetes"
KUBERNETES_REPLICAS = DEPLOY / "kubernetes-replicas"
problems = []


def problem(where, what):
    problems.append(f"deploy/{where.relative_to(DEPLOY)}: {what}")


def load(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def inherited(folder, service):
    """A service with what it takes over from another file: what it says itself counts, and mounts are added."""
    if "extends" not in service:
        return folder, service
    path = (folder / service["extends"]["file"]).resolve()
    [file] = load(path)
    base = file["services"][service["extends"]["service"]]
    own = {key: value for key, value in service.items() if key not in ("extends", "volumes")}
    return path.parent, base | own


def compose(folder):
    """Every service is closed as far as it can be, and every file it mounts is there."""
    path = folder / "compose.yaml"
    [file] = load(path)
    for name, written in file["services"].items():
        def expect(is_so, what):
            if not is_so:
                problem(path, f"{name}: {what}")

        origin, service = inherited(folder, written)
        expect(service.get("read_only") is True, "its root can be written")
        expect(service.get("cap_drop") == ["ALL"], "it keeps capabilities")
        expect("no-new-privileges:true" in service.get("security_opt", []), "it can gain privileges")
        expect(not service.get("privileged") and not service.get("cap_add"), "it has privileges")
        # What is done once is asked how it was, and not how it is.
        expect("healthcheck" in service or service.get("restart") == "no", "nobody asks how it is")
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        expect({"cpus", "memory", "pids"} <= limits.keys(), "its resources are not bounded")
        tag = service["image"].rpartition(":")[2]
        expect(tag[:1].isdigit() or tag[:1] == "v" and tag.count(".") == 2, "its image is not pinned")
        for port in service.get("ports", []):
            expect(str(port).startswith("127.0.0.1:"), f"port {port} is open to other machines")
        for place, volumes in [(origin, service.get("volumes", [])), (folder, written.get("volumes", []))]:
            for volume in volumes:
                source = volume.get("source") if isinstance(volume, dict) else volume.split(":")[0]
                # Secrets are put there by whoever installs; the folder has to be there.
                if source.startswith("."):
                    expect((place / source).exists(), f"{source} is not there")
                else:
                    expect(source in file["volumes"], f"there is no volume {source}")
        for network in service.get("networks", []):
            expect(network in file["networks"], f"there is no network {network}")
        for secret in service.get("secrets", []):
            expect(secret in file["secrets"], f"there is no secret {secret}")
        for other, how in dict(service.get("depends_on", {})).items():
            expect(other in file["services"], f"there is no service {other}")
            is_once = file["services"].get(other, {}).get("restart") == "no"
            expected = "service_completed_successfully" if is_once else "service_healthy"
            expect(how["condition"] == expected, f"it does not wait until {other} is {expected}")


def apart():
    """Of the gateways of one ledger each has its outbox for itself, and all else in common; the proxy knows all of them, and
    they know the proxy."""
    path = COMPOSE_REPLICAS / "compose.yaml"
    [file] = load(path)
    gateways = {name: service for name, service in file["services"].items() if name.startswith("gateway-")}
    outboxes = [volume["source"] for of in gateways.values() for volume in of["volumes"] if volume["target"] == "/data"]
    if len(set(outboxes)) != len(gateways):
        problem(path, "gateways have an outbox in common")
    config = tomllib.loads((COMPOSE_REPLICAS / "gateway/gateway.toml").read_text())
    [network] = file["networks"]["front"]["ipam"]["config"]
    if config["server"]["trusted_proxies"] != [network["subnet"]]:
        problem(path, "the network that HAProxy is in is not the one that gateway.toml trusts")
    targets = {f"{name}:9464" for name in gateways}
    [prometheus] = load(COMPOSE_REPLICAS / "prometheus.yml")
    if set(prometheus["scrape_configs"][0]["static_configs"][0]["targets"]) != targets:
        problem(COMPOSE_REPLICAS / "prometheus.yml", "its targets are not the gateways of compose.yaml")
    servers = [line.split() for line in directives(COMPOSE_REPLICAS / "haproxy/haproxy.cfg") if line.startswith("server ")]
    if sorted(server[2] for server in servers) != sorted(2 * [f"{name}:8080" for name in gateways]):
        problem(COMPOSE_REPLICAS / "haproxy/haproxy.cfg", "its servers are not the gateways of compose.yaml")


def directives(path):
    return [line.strip() for line in path.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]


def haproxy():
    """What stands in front of several gateways says the same as what stands in front of one, and more; and the one in Compose
    the same but for names, TLS and addresses."""
    one, several, composed = (
        DEPLOY / "in-front/haproxy.cfg", DEPLOY / "haproxy/haproxy.cfg", COMPOSE_REPLICAS / "haproxy/haproxy.cfg",
    )
    own = ("server ", "backend ", "default_backend ")
    for line in directives(one):
        if not line.startswith(own) and line not in directives(several):
            problem(several, f"lacks `{line}` of deploy/{one.relative_to(DEPLOY)}")
    is_elsewhere = re.compile(r"(server|default-server|bind|ssl-default|resolvers|nameserver|hold|option httpclose|\.)")
    kept = [[line for line in directives(path) if not is_elsewhere.match(line)] for path in (several, composed)]
    if kept[0] != kept[1]:
        differ = "; ".join(sorted(set(kept[0]) ^ set(kept[1]))) or "another order"
        problem(composed, f"is not as deploy/{several.relative_to(DEPLOY)}: {differ}")
    for path in (several, composed):
        checked = [line for line in directives(path) if line.startswith("default-server ") and " check " in line]
        if len(checked) != 1:
            problem(path, "its servers are not checked")


def monitoring():
    """Prometheus and Grafana are set up as everywhere else, but for where they find what they ask."""
    for path, origin, where in [
        (COMPOSE / "prometheus.yml", DEPLOY / "prometheus/prometheus.yml", "scrape_configs"),
        (COMPOSE_REPLICAS / "prometheus.yml", DEPLOY / "prometheus/prometheus.yml", "scrape_configs"),
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


def kustomization(folder):
    """Every manifest is listed, and every one that is listed is there."""
    path = folder / "kustomization.yaml"
    [file] = load(path)
    listed = set(file["resources"])
    bases = {name for name in listed if name.startswith("../")}
    for base in bases:
        if not (folder / base / "kustomization.yaml").exists():
            problem(path, f"stands on {base}, which is no kustomization")
    there = {other.name for other in folder.glob("*.yaml")} - {path.name, "secret.example.yaml"}
    for name in sorted(listed - bases - there):
        problem(path, f"lists {name}, which is not there")
    for name in sorted(there - listed):
        problem(path, f"does not list {name}")
    for generator in file["configMapGenerator"]:
        for name in generator["files"]:
            if not (folder / name).exists():
                problem(path, f"makes a config map of {name}, which is not there")


def patches(path, manifests):
    """What a kustomization patches is there, and what it adds finds its place."""
    [file] = load(path)
    documents = [document for other in manifests for document in load(other)]
    for patch in file["patches"]:
        target = patch["target"]
        found = [
            document
            for document in documents
            if re.fullmatch(target["kind"], document["kind"]) and document["metadata"]["name"] == target["name"]
        ]
        if not found:
            problem(path, f"{target} is nowhere")
        steps = yaml.safe_load(patch["patch"])
        if isinstance(steps, dict):
            for document in found:
                if steps.get("kind") != document["kind"] or steps["metadata"]["name"] != document["metadata"]["name"]:
                    problem(path, f"the patch of {target} is of something else")
            continue
        for document in found:
            for step in steps:
                if why := misfit(step, document):
                    problem(path, f"{step['path']} of {target} {why}")


def misfit(step, document):
    """Why a step of a patch does not fit what it is for, if it does not: an API server would take what is added under a name
    that nothing reads."""
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
    place = document
    for part in parents:
        try:
            place = place[int(part) if isinstance(place, list) else part]
        except (KeyError, IndexError, ValueError, TypeError):
            return "is not there"
    if isinstance(place, list):
        return None if step["op"] == "add" and last == "-" else "is no list to add to"
    there = last in place
    match step["op"]:
        case "add":
            return "is there already" if there else None
        case "replace":
            return None if there else "is not there to be replaced"
        case other:
            return f"is for {other}, which is not looked at here"


def replicas():
    """Several gateways are what one is, but for where the ledger lies and how they are replaced."""
    path = KUBERNETES_REPLICAS / "deployment.yaml"
    [[one], [several]] = load(KUBERNETES / "statefulset.yaml"), load(path)
    pods = [document["spec"]["template"]["spec"] for document in (one, several)]
    [[ours], [theirs]] = (pod["containers"] for pod in pods)
    for key in ours.keys() | theirs.keys():
        if key not in ("volumeMounts", "lifecycle") and ours.get(key) != theirs.get(key):
            problem(path, f"the container's {key} is not as in deploy/kubernetes/statefulset.yaml")
    for key in ("securityContext", "serviceAccountName", "automountServiceAccountToken", "enableServiceLinks"):
        if pods[0].get(key) != pods[1].get(key):
            problem(path, f"the pod's {key} is not as in deploy/kubernetes/statefulset.yaml")
    for first in pods[1]["initContainers"]:
        if first["securityContext"] != theirs["securityContext"] or first["image"] != theirs["image"]:
            problem(path, f"{first['name']} is not the gateway's program with the gateway's rights")
    [budget] = load(KUBERNETES / "poddisruptionbudget.yaml")
    if budget["spec"]["selector"] != several["spec"]["selector"]:
        problem(path, "no disruption budget is its own")


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


def all_of(folder):
    return sorted(path for path in folder.glob("*.yaml") if path.name not in ("kustomization.yaml", "secret.example.yaml"))


if sys.argv[1] == "compose":
    compose(COMPOSE)
    compose(COMPOSE_REPLICAS)
    apart()
    monitoring()
elif sys.argv[1] == "haproxy":
    haproxy()
else:
    kustomization(KUBERNETES)
    kustomization(KUBERNETES_REPLICAS)
    patches(KUBERNETES_REPLICAS / "kustomization.yaml", all_of(KUBERNETES))
    patches(DEPLOY / "kubernetes-overlay/kustomization.yaml", all_of(KUBERNETES))
    patches(DEPLOY / "identity/kubernetes-gateway/kustomization.yaml", all_of(KUBERNETES) + all_of(KUBERNETES_REPLICAS))
    replicas()
    operator_resources()
    rules()
for line in problems:
    print(line, file=sys.stderr)
sys.exit(bool(problems))
