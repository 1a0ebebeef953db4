# swapper with CUDA, without a display.
#   docker build -t swapper .
#   docker run --rm --gpus all -v "$PWD:/work" swapper train name=... facesets=[...]
# The `base` image: torch's wheels bring cuBLAS, cuDNN and NCCL of their own.
FROM nvidia/cuda:13.0.1-base-ubuntu24.04

# gcc and the Python headers: Triton builds its launchers at run time. EGL and GLES: MediaPipe.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      python3 python3-venv python3-dev gcc g++ libegl1 libgles2 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*

ENV VIRTUAL_ENV=/opt/swapper
ENV PATH=$VIRTUAL_ENV/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1

COPY pyproject.toml README.md LICENSE /src/
COPY configs /src/configs
COPY swapper /src/swapper
# face-alignment and mediapipe pull OpenCV builds that want a display and that overwrite each
# other's files; only the headless build stays, at the version that was resolved.
RUN python3 -m venv $VIRTUAL_ENV \
 && pip install '/src[mediapipe,tensorboard,slurm,joblib]' \
 && version=$(pip show opencv-python-headless | sed -n 's/^Version: //p') \
 && pip uninstall -y opencv-python opencv-contrib-python opencv-python-headless \
 && pip install --no-deps "opencv-python-headless==$version" \
 && swapper --version && python3 -c 'import cv2, swapper.extract, swapper.convert'

# Weights, caches and the local signing key live here: mount it to keep them.
ENV SWAPPER_HOME=/work/.swapper
WORKDIR /work
ENTRYPOINT ["swapper"]
CMD ["--help"]
