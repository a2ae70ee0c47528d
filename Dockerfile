# To pin the base image: `docker buildx imagetools inspect node:24-slim` prints its digest, and
# `docker build --build-arg NODE_IMAGE=node:24-slim@sha256:…` builds on it. None stands here: whoever builds decides when to
# take the fixes of a newer one.
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /src

# Apart from the source, so that a change there does not install again. No script runs: every binary comes in its package.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts

# The package, as it is published, with the list of its parts.
COPY . ./
RUN mkdir /package \
  && npm pack --pack-destination /package \
  && tar -xzf /package/forumbus-*.tgz -C /package --strip-components=1 \
  && rm /package/forumbus-*.tgz \
  && npm run sbom -- /package/sbom.cdx.json

FROM ${NODE_IMAGE}
ENV NODE_ENV=production
WORKDIR /app

# The versions of the lock file, which the package does not hold.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts

COPY --from=build /package ./
RUN chmod 755 dist/src/cli/main.js && ln -s /app/dist/src/cli/main.js /usr/local/bin/forumbus

# A new volume takes its owner from the folder that it is mounted on.
RUN mkdir /data && chown node:node /data
VOLUME /data
USER node

ENV DATABASE_URL=sqlite:/data/forumbus.db HOST=0.0.0.0 MALLOC_ARENA_MAX=1
EXPOSE 4010

# The slim image has no curl. More patience than the service has with its database, so that it can say what is wrong.
HEALTHCHECK --interval=10s --timeout=8s --start-period=30s --retries=3 \
  CMD ["node", "-e", "const { PORT, BASE_PATH = '' } = process.env; fetch(`http://127.0.0.1:${PORT || 4010}${BASE_PATH.replace(/\\/$/, '')}/bus/health`).then(answer => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]

# Not a shell and not npm: the signal of `docker stop` must reach the service itself. The options are those of `npm start`.
CMD ["node", "--require", "./dist/src/node-floor.cjs", "--max-semi-space-size=16", "--heap-growing-percent=70", "dist/src/main.js"]
