"""Ways of making a model smaller that others published, each written from its paper."""
