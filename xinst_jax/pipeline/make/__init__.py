"""Each stage joined to a run: paths and configuration in, what was made out.

    texts    corpus, seed, tokenizer, diverse, dataset, report
    models   base, generator, rater, follower, model, hf_model
    answers  candidates, ratings, evaluation

What is slow to import is imported where it is used, so that a pipeline of which every
stage is up to date answers at once.
"""
