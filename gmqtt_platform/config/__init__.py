"""The configuration: `loader` reads conf.toml and the environment, one module for each group of tables."""
