"""Twenty prompts as people write them: short and long, questions and orders, code, lists and other languages."""

PROMPTS = (
    "Describe a city at night.",
    "What is the capital of Australia, and why is it not Sydney?",
    "Write a haiku about rain on a tin roof.",
    "Summarise in one sentence: The mitochondrion is an organelle that produces most of the cell's supply of ATP.",
    "def fibonacci(n):\n    # Complete this function and explain it.",
    "List five things to check before buying a used bicycle.",
    "I feel a bit lost lately. What would you tell a friend who said that?",
    "Translate to French: 'Where is the nearest railway station?'",
    "Why is the sky blue? Explain it to a six-year-old.",
    "Give me a recipe for lentil soup with whatever spices you like.",
    "hi",
    "Who wrote 'Pride and Prejudice', and in what year was it first published?",
    "Continue the story: The lighthouse keeper had not spoken to anyone for forty days when",
    "What is 17 * 23? Show your steps.",
    "Correct the grammar: 'Him and me was going to the store yesterday when it start raining.'",
    "Name three advantages and three disadvantages of remote work.",
    "¿Cuál es la diferencia entre 'ser' y 'estar'?",
    "Write a polite email that asks a landlord to repair a dripping tap; keep it under 80 words.",
    "Which planet has the most moons? Answer with a number and a name only.",
    "In the style of a sports commentator, describe someone making a cup of tea. 🍵",
)
