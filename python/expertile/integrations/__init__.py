"""The MoE layer inside of engines. Nothing is imported here; each module imports its engine's package.

    expertile.integrations.transformers    experts_implementation="expertile" of Hugging Face transformers
    expertile.integrations.vllm            FusedMoEExpertsModular of vLLM, by the entry point vllm.general_plugins
    expertile.integrations.sglang          a runner core of SGLang, by the entry point sglang.srt.plugins

See docs/engines.md.
"""
