# coord as an image; its arguments are those of the command. compose.yaml runs a fleet of it.
# It has no health check: that depends on the command, and compose.yaml has one for each.

FROM python:3.12-slim AS build
WORKDIR /src
COPY requirements.lock ./
# The lock also lists what only development needs; as constraints it installs none of that.
RUN pip install --no-cache-dir --constraint requirements.lock setuptools
COPY LICENSE README.md pyproject.toml ./
COPY cli cli
COPY coordinator coordinator
COPY reports reports
COPY web web
COPY workers workers
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python -m venv --without-pip /opt/coord \
 && pip --python /opt/coord/bin/python install --no-cache-dir --only-binary :all: \
      --constraint requirements.lock /wheels/*.whl

FROM python:3.12-slim
# A new volume that is mounted at /var/lib/coord is that user's alone, too.
RUN useradd --uid 10001 --no-log-init --no-create-home --shell /usr/sbin/nologin coord \
 && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/coord
COPY --from=build /opt/coord /opt/coord
ENV PATH=/opt/coord/bin:$PATH
# A number, so that it can be seen from outside not to be root.
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["coord"]
CMD ["--help"]
