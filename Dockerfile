# One image for every part; the command names the part.
FROM python:3.12-slim AS build
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_NO_CACHE=1
RUN pip install --no-cache-dir uv==0.13.9 \
    && python -m venv --without-pip /opt/build \
    && python -m venv --without-pip /opt/sluicegate
WORKDIR /build
# What changes seldom comes first, so that a change of the code does not fetch everything anew.
# As constraints the lock gives versions and hashes, and what is only for development stays out.
COPY requirements.lock pyproject.toml ./
RUN uv pip install --python /opt/sluicegate --constraint requirements.lock -r pyproject.toml \
    && uv pip install --python /opt/build --constraint requirements.lock hatchling
COPY README.md LICENSE ./
COPY src src
RUN /opt/build/bin/hatchling build -t wheel -d /wheels \
    && uv pip install --python /opt/sluicegate --no-deps /wheels/*.whl

FROM python:3.12-slim
RUN useradd --system --uid 10001 --user-group --create-home --home-dir /var/lib/sluicegate \
        sluicegate \
    && install -d -o sluicegate -g sluicegate /var/cache/sluicegate /etc/sluicegate
COPY --from=build /opt/sluicegate /opt/sluicegate
COPY config/sluicegate.toml config/patterns.toml config/counter.toml /etc/sluicegate/
ENV PATH=/opt/sluicegate/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SLUICEGATE_CONFIG=/etc/sluicegate/sluicegate.toml \
    SLUICEGATE_PATTERNS__FILE=/etc/sluicegate/patterns.toml \
    SLUICEGATE_COUNTER__RULES_FILE=/etc/sluicegate/counter.toml \
    XDG_CACHE_HOME=/var/cache/sluicegate \
    NUMBA_CACHE_DIR=/var/cache/sluicegate/numba
WORKDIR /var/lib/sluicegate
USER 10001
# A container runs one part, and each part shows its figures on a port of its own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-m", "sluicegate.operations.health"]
ENTRYPOINT ["sluicegate"]
CMD ["--help"]
