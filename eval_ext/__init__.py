"""Evaluation through lmms-eval: models over our tool loop, and benchmarks that need it.

::

    export LONGVT_DATA=runs/demo/data
    lmms-eval --model longvt --model_args base_url=http://localhost:8000/v1,model=longvt --tasks longvt_synthetic_tool
    lmms-eval --model longvt_hf --model_args pretrained=checkpoints/sft --tasks longvt_synthetic --batch_size 16

lmms-eval finds both by itself, through the entry point of :mod:`eval_ext.plugin`.
"""
