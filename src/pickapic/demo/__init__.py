"""The whole loop in miniature: collect, export, split, train, evaluate, report; then a page to pick on."""
