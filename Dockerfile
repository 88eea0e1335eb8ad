# The node image. The first stage takes a binary that was built already (static, for the engine's architecture) and is what Soak
# itself builds through the engine's API; the second compiles one and needs the network for its base image.
#
#   CGO_ENABLED=0 go build -trimpath -o bin/broker ./cmd/broker
#   docker build --target prebuilt -t soak-broker .
#   docker build --target release  -t soak-broker .

FROM scratch AS prebuilt
COPY bin/broker /broker
EXPOSE 9092 9093
ENTRYPOINT ["/broker"]

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /broker ./cmd/broker

FROM scratch AS release
COPY --from=build /broker /broker
EXPOSE 9092 9093
ENTRYPOINT ["/broker"]
