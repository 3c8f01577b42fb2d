"""Reads a folder of event files as TensorBoard does, and prints what it finds as JSON.

    python tests/read_events.py RUN

Needs the package `tensorboard`; tests/tensorboard.rs runs it.
"""

import json
import sys

from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.util import tensor_util


def main(folder):
    # 0: all events, not a sample of them.
    multiplexer = EventMultiplexer(tensor_size_guidance={"scalars": 0, "images": 0})
    multiplexer.AddRun(folder, "run").Reload()
    scalars, images = {}, {}
    for tag, metadata in multiplexer.AllSummaryMetadata()["run"].items():
        events = multiplexer.Tensors("run", tag)
        plugin = metadata.plugin_data.plugin_name
        values = [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in events]
        if plugin == "scalars":
            scalars[tag] = [[step, float(value)] for step, value in values]
        elif plugin == "images":
            # Width and height as text, then the pictures of the step.
            images[tag] = [
                [step, int(value[0]), int(value[1]), [png.hex() for png in value[2:]]]
                for step, value in values
            ]
        else:
            sys.exit(f"{tag}: shown by {plugin!r}, neither scalars nor images")
    json.dump({"scalars": scalars, "images": images}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
