"""Policy adapters: any term of a formula that is a language model learns, while all others stay as they are.

Source: inference-time policy adapters (Lu et al., EMNLP 2023, arXiv 2305.15065), whose tailored policy is the formula
`base + tilt(adapter)` here.
"""
