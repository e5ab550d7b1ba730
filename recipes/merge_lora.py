"""Merges a LoRA adapter into its model, so that the next stage, vLLM and lmms-eval load one whole checkpoint.

::

    python recipes/merge_lora.py runs/qwen3_vl_4b_lora/sft runs/qwen3_vl_4b_lora/sft-merged
"""

from __future__ import annotations

import argparse


def main() -> None:
    """Reads the adapter's folder, which names its model, and writes the merged checkpoint with its processor."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("adapter", help="folder that a training with use_peft left")
    parser.add_argument("out", help="folder for the merged checkpoint")
    options = parser.parse_args()
    from peft import PeftConfig, PeftModel
    from transformers import AutoModelForImageTextToText, AutoProcessor

    name = PeftConfig.from_pretrained(options.adapter).base_model_name_or_path
    base = AutoModelForImageTextToText.from_pretrained(name, dtype="auto")
    PeftModel.from_pretrained(base, options.adapter).merge_and_unload().save_pretrained(options.out)
    AutoProcessor.from_pretrained(options.adapter).save_pretrained(options.out)


if __name__ == "__main__":
    main()
