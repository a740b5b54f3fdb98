# syntax=docker/dockerfile:1
# The server alone, for a CPU. With a GPU: docker build --build-arg TORCH=cu130 .
# tests/test_container.py executes these steps in a bare virtual environment.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
# A backend that uv knows (cpu, cu128, cu130, …); an empty one takes what the package index has.
ARG TORCH=cpu
WORKDIR /app
RUN pip install --no-cache-dir uv==0.13.8
COPY pyproject.toml ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv --python python /opt/siamese \
    && uv pip install --python /opt/siamese/bin/python --group serving ${TORCH:+--torch-backend=$TORCH}

FROM python:${PYTHON}-slim
COPY --from=build /opt/siamese /opt/siamese
WORKDIR /app
COPY infer.py LICENSE ./
COPY siamese ./siamese
COPY checkpoints/shipped ./checkpoints/shipped
ENV PATH=/opt/siamese/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp
# Compiled now, for a file system that may be read-only; writable for whatever user runs it.
RUN python -m compileall -q infer.py siamese && mkdir -m 1777 /data
USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["python", "infer.py", "serve", "--host", "0.0.0.0"]
CMD ["--catalog", "/data/catalog", "--folder", "/data/serving"]
