"""Unpacks an image as an engine would, and says how it is started.

    image.py ARCHIVE FOLDER     the files into FOLDER, what the image says of itself to standard output, a line each:
                                user, command, health check
"""

import json
import shlex
import sys
import tarfile


def main(archive: str, folder: str) -> None:
    with tarfile.open(archive) as image:
        (manifest,) = json.load(image.extractfile("manifest.json"))
        settings = json.load(image.extractfile(manifest["Config"]))["config"]
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=image.extractfile(name)) as layer:
                # Owners are kept: whose the folder is that is written is a part of the image.
                layer.extractall(folder, numeric_owner=True)
    kind, *healthcheck = settings["Healthcheck"]["Test"]
    if kind != "CMD":
        sys.exit("the health check wants a shell, and the image has none")
    print(settings["User"])
    print(shlex.join(settings["Entrypoint"] + settings["Cmd"]))
    print(shlex.join(healthcheck))


main(*sys.argv[1:])
