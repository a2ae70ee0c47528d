FROM node:24-slim

ENV NODE_ENV=production
WORKDIR /app

# Apart from the source, so that a change there does not install again. No script runs: every binary comes in its package.
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts

# Node runs the TypeScript as it is; there is nothing to build.
COPY tsconfig.json ./
COPY src ./src
COPY migrations ./migrations

# A new volume takes its owner from the folder that it is mounted on.
RUN mkdir /data && chown node:node /data
VOLUME /data
USER node

ENV DATABASE_URL=sqlite:/data/forumbus.db HOST=0.0.0.0
EXPOSE 4010

# The slim image has no curl. More patience than the service has with its database, so that it can say what is wrong.
HEALTHCHECK --interval=10s --timeout=8s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT || 4010}/bus/health`).then(answer => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]

# Not a shell and not npm: the signal of `docker stop` must reach the service itself. The options are those of `npm start`.
CMD ["node", "--require", "./src/node-floor.cjs", "--max-semi-space-size=16", "--heap-growing-percent=30", "src/main.ts"]
