# aria-ray for CPUs, on x86-64 and arm64: for a Mac, or a Linux without the right Python.
#   docker build --tag aria-ray .
#   docker run --rm -it --shm-size=4g --volume "$PWD":/work aria-ray run laptop
# The endpoint, for clients outside of the container, which then need the key:
#   docker run --rm -it --shm-size=4g --volume "$PWD":/work --publish 8000:8000 --env ARIA_API_KEYS=KEY \
#       aria-ray serve laptop serving.host=0.0.0.0
# Not built by the project yet: it has had no image registry. Its commands are those of `make run`, which are tested.
FROM python:3.11-slim
# libnuma1 is what vLLM's CPU build is linked to; a compiler is what torch and Triton ask for where they compile.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libnuma1 make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/aria-ray
COPY . .
# PyPI's torch for Linux is the CUDA build, several GB larger than needed; a folder with a CPU wheel, named by
# `--build-arg PIP_FIND_LINKS=FOLDER` and copied with the rest, is taken instead.
ARG PIP_FIND_LINKS=
RUN make .venv/installed && .venv/bin/uv cache clean
ENV PATH=/opt/aria-ray/.venv/bin:$PATH
WORKDIR /work
ENTRYPOINT ["aria"]
CMD ["--help"]
