"""Exports networks from torch to the ONNX files that captioning uses."""

import logging
import warnings
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.export import Dim

from auricle.checkpoint.config import DecoderConfig
from auricle.checkpoint.fingerprints import ONE_CAPTIONER
from auricle.checkpoint.folder import Checkpoint, load_checkpoint
from auricle.models.captioning import CaptioningModel, Decoder
from auricle.models.contrastive import SharedSpace
from auricle.models.decoder_state import DecoderState
from auricle.sound.features import front_end
from auricle.storage.files import written_whole
from auricle.training.weights import check_fingerprints, load_strictly, load_weights

# Ends the names of tensors in half precision.
HALF = ".half"
# Parts of an encoder that its ONNX file lacks, because captioning without tags does not use them.
TAG_HEADS = ("encoder.fc1.", "encoder.fc_audioset.", "encoder.classifier.")


class _EncoderGraph(nn.Module):
    """Log-mel spectrogram -> keys and values of the sound, its tags, and its embedding.

    Tags and embedding are there if the captioner has them.
    """

    def __init__(self, model: CaptioningModel) -> None:
        super().__init__()
        self.encoder, self.bridge, self.decoder = model.encoder, model.bridge, model.decoder
        self.tags, self.space = model.tags, model.space
        self._model = [model]  # A list hides it from torch, so that its tensors keep their names.

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs of `forward`."""
        more = {"tags": self.tags, "sound_embedding": self.space}
        return [
            "memory_keys",
            "memory_values",
            *(name for name, part in more.items() if part is not None),
        ]

    def forward(self, log_mel: Tensor) -> tuple[Tensor, ...]:
        model = self._model[0]
        features, mask, tags = model.hear(log_mel, torch.tensor([log_mel.shape[1]]))
        memory, _ = model.remember(features, mask, tags)
        state = self.decoder.begin(memory)
        outputs = (state.memory_keys, state.memory_values)
        if tags is not None:
            outputs = (*outputs, tags)
        if self.space is not None:
            outputs = (*outputs, self.space.embed_sound(self.encoder.embed(features, mask), tags))
        return outputs


class _TextGraph(nn.Module):
    """Words of sentences -> their embeddings in the shared space."""

    def __init__(self, space: SharedSpace) -> None:
        super().__init__()
        self.space = space

    def forward(self, tokens: Tensor) -> Tensor:
        """(sentences, words) -> (sentences, space)."""
        return self.space.embed_text(tokens)


class StepGraph(nn.Module):
    """One step of a decoder.

    Args:
        name: of the part of the model that has the decoder, so that tensors keep their names.
        part: that part.
        decoder: the decoder.
    """

    def __init__(self, name: str, part: nn.Module, decoder: Decoder) -> None:
        super().__init__()
        self.add_module(name, part)
        self._decoder = [decoder]  # A list hides it from torch, so that it has one name.

    def forward(
        self,
        tokens: Tensor,
        parents: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        memory_keys: Tensor,
        memory_values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns log-probabilities (rows, words), the keys and values so far, and attention."""
        state = DecoderState(past_keys, past_values, memory_keys, memory_values)
        log_probs, state, attention = self._decoder[0].step(tokens, parents, state)
        return log_probs, state.past_keys, state.past_values, attention


def load_model(checkpoint: Checkpoint) -> CaptioningModel:
    """Loads the network of a checkpoint folder, ready to caption.

    A folder without `model.safetensors`, such as the embedded model's, has all used tensors in its
    ONNX files.

    Raises:
        AuricleError: a tensor is missing, left over, or of another shape, or the weights were
            trained with other words or tags.
    """
    config = checkpoint.config
    model = CaptioningModel(
        config.encoder, config.decoder, len(checkpoint.vocabulary), config.space
    )
    path = checkpoint.folder / "model.safetensors"
    if path.exists():
        check_fingerprints(path, checkpoint.fingerprints().of_networks(), ONE_CAPTIONER)
        load_strictly(model, load_weights(path), str(path))
        return model.eval()
    # ONNX files lack unused tensors: tag heads without tags, and counters of batch norms.
    heads = () if config.decoder.tags else TAG_HEADS
    drawn = model.state_dict().items()
    unused = {name: tensor for name, tensor in drawn if name.startswith(heads) or tensor.dim() == 0}
    load_strictly(model, unused | onnx_tensors(checkpoint.folder), str(checkpoint.folder))
    return model.eval()


def onnx_tensors(folder: Path) -> dict[str, Tensor]:
    """Returns the tensors of a folder's ONNX files, by their names in the state dict."""
    tensors: dict[str, Tensor] = {}
    for name in ("encoder.onnx", "plan.onnx", "decoder.onnx", "text.onnx"):
        if name in ("plan.onnx", "text.onnx") and not (folder / name).exists():
            continue
        for tensor in onnx.load(folder / name, load_external_data=False).graph.initializer:
            tensors[tensor.name.removesuffix(HALF)] = torch.from_numpy(
                numpy_helper.to_array(tensor).copy()
            )
    return tensors


def export_onnx(folder: Path) -> Path:
    """Writes the ONNX files of a checkpoint from its `model.safetensors`, and returns its folder.

    See `auricle.training.export_planned` for captioners that word a plan. The files are
    `encoder.onnx`, `decoder.onnx` and, if it has a text tower, `text.onnx`. The encoder
    takes one unpadded sound. Tensors keep their names, and matrices stay in half precision on disk:
    a node casts each of them when the file is loaded.
    """
    checkpoint = load_checkpoint(folder)
    folder = checkpoint.folder
    model = load_model(checkpoint)
    config = checkpoint.config.decoder
    metadata = checkpoint.config.fingerprints.metadata()
    mels = front_end(checkpoint.config.front_end).mels
    log_mel = torch.zeros(1, 320, mels)
    encoder = _EncoderGraph(model)
    keys, values, *_ = encoder(log_mel)
    export_graph(
        encoder,
        (log_mel,),
        folder / "encoder.onnx",
        ["log_mel"],
        encoder.outputs,
        ({1: Dim.DYNAMIC},),
        metadata,
    )
    if model.space is not None:
        export_text(model.space, folder, metadata)
    graph = StepGraph("decoder", model.decoder, model.decoder)
    export_step(graph, config, (keys, values), folder, metadata)
    return folder


def export_text(space: SharedSpace, folder: Path, metadata: dict[str, str]) -> None:
    """Writes `text.onnx`.

    Args:
        space: has the text tower.
        folder: the checkpoint folder.
        metadata: as for `export_graph`.
    """
    export_graph(
        _TextGraph(space),
        (torch.full((3, 7), 5),),
        folder / "text.onnx",
        ["tokens"],
        ["sentence_embedding"],
        ({0: Dim("rows"), 1: Dim("words")},),
        metadata,
    )


def export_step(
    graph: StepGraph,
    config: DecoderConfig,
    memory: tuple[Tensor, Tensor],
    folder: Path,
    metadata: dict[str, str],
) -> None:
    """Writes `decoder.onnx`.

    Args:
        graph: a step of the decoder.
        config: its sizes.
        memory: keys and values to trace it with.
        folder: the checkpoint folder.
        metadata: as for `export_graph`.
    """
    past = torch.zeros(config.layers, 4, config.heads, 3, config.width // config.heads)
    rows, words, positions = Dim("rows"), Dim("words"), Dim("positions")
    past_axes: dict[int, object] = {1: Dim("past_rows"), 3: words}
    export_graph(
        graph,
        (torch.full((4,), 5), torch.arange(4), past, past.clone(), *memory),
        folder / "decoder.onnx",
        ["tokens", "parents", "past_keys", "past_values", "memory_keys", "memory_values"],
        ["log_probs", "keys", "values", "attention"],
        ({0: rows}, {0: rows}, past_axes, past_axes, {3: positions}, {3: positions}),
        metadata,
    )


def export_graph(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    dynamic: tuple[dict[int, object], ...],
    metadata: dict[str, str],
) -> None:
    """Exports a module to an ONNX file whose matrices are in half precision.

    Args:
        module: the network.
        arguments: inputs to trace it with.
        path: the file to write.
        inputs: names of the inputs.
        outputs: names of the outputs.
        dynamic: for each input its axes of varying size.
        metadata: the fingerprints that bind the file to its folder.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        # The exporter itself causes these warnings.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.")
        program = torch.onnx.export(
            module.eval(),
            arguments,
            dynamo=True,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic,
            external_data=False,
            optimize=False,  # its optimiser folds batch norm into weights of the same name
            verbose=False,
        )
    assert program is not None
    model = _stripped(_halved(_without_zero_biases(program.model_proto)))
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    with written_whole(path) as part:
        part.write_bytes(model.SerializeToString())


def _without_zero_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """Removes the biases that the exporter makes for convolutions without one.

    Nodes compute these zeros. ONNX Runtime folds batch norms and lays out channels only for weights
    that are constants in the file, so MobileNet would take twice as long with them.
    """
    from onnxscript.optimizer import remove_unused_nodes  # a second to import

    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[2] not in constants:
            del node.input[2]
    remove_unused_nodes(model)
    return model


def _halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Stores matrices as float16, each with a node that casts it when the file is loaded."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
            name = tensor.name
            half = numpy_helper.from_array(
                numpy_helper.to_array(tensor).astype("float16"), name + HALF
            )
            tensor.CopyFrom(half)
            casts.append(helper.make_node("Cast", [name + HALF], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """Removes the exporter's notes: its stack traces contain paths of this machine."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    return model
