"""Policy adapters: any term of a formula that is a language model learns, while all others stay as they are.

Source: inference-time policy adapters (Lu et al., EMNLP 2023, arXiv 2305.15065), whose tailored policy is the formula
`base + tilt(adapter)` here.

    trainee = open_lora(learning_term(voice.formula, "adapter"), models, rank=16)
    policy = FormulaPolicy(voice, "adapter", trainee, models, models.scorer)
    said = Rollouts(policy).sample(prompts, samples=4, seed=0, control="Quality 5.\n")
    judged = policy.judge([each.prompt for each in said], [each.tokens for each in said])

What differs from the paper: the text that stands for a level of reward is a text, and no new entry of a vocabulary, so
that a trained adapter is an ordinary term, under a prefix; and the adapter may be a LoRA on the base's own weights.
"""
