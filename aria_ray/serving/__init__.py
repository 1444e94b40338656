"""The endpoint: a merged model behind an OpenAI-compatible API, by Ray Serve on vLLM."""
