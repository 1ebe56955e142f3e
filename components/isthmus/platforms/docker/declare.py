"""The `docker` platform: releases, servers and a gateway on hosts, declared. What they are is decided in `platforms.docker`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import pulumi
import pulumi_docker
from pulumi import Output, ResourceOptions

from isthmus import compiling
from isthmus.arguments.components import CloudSettings
from isthmus.arguments.gateway_options import access_of, options_of
from isthmus.gateway import Gateway, Server
from isthmus.platforms.docker import desired as docker
from isthmus.platforms.docker.settings import DockerSettings
from isthmus.platforms.publishing import key_prefix, publish, store_of
from isthmus.platforms.served import Served
from isthmus.resources import DockerFiles, DockerGate, DockerModelFolder, DockerServer, PublishedRelease
from isthmus.sizing.service import ServicePlan


def serve(
    component: pulumi.Resource,
    name: str,
    model_name: str,
    *,
    args: CloudSettings,
    made: compiling.Compiling[ServicePlan],
    canary: compiling.Compiling[None] | None = None,
    path: str,
) -> Served:
    """A server on each host, and Envoy in front on one of them."""
    assert canary is None  # noqa: S101  platform_rules has seen to it
    return _Service(component, name, model_name, args, made, path).serve()


@dataclass
class _Service:
    """One service while it is declared."""

    component: pulumi.Resource
    name: str
    model_name: str
    args: CloudSettings
    made: compiling.Compiling[ServicePlan]
    path: str
    places: dict[str, "_Place"] = field(default_factory=dict)

    def serve(self) -> Served:
        given = self.args.section(DockerSettings)
        self.places = {host.name: _Place(self, host.name, host.address) for host in given.hosts}
        hosts = self._hosts()
        published = publish(self.component, self.args, self.made, resource=f"{self.name}-release", prefix=self._prefix)
        servers = [self._server(place, hosts.apply(itemgetter(index)), published) for index, place in enumerate(self.places.values())]
        ports = Output.all(*(Output.all(server.rest_port, server.grpc_port) for server in servers))
        known = Output.all(hosts=hosts, release=self.made.release, plan=self.made.plan, ports=ports)
        container = self._gateway(hosts, known)
        return self._served(hosts, servers, container)

    @property
    def _first(self) -> int:
        """The gateway's host."""
        names = list(self.places)
        wanted = self.args.section(DockerSettings).gateway_host
        return names.index(wanted) if wanted else 0

    @property
    def _tls(self) -> bool:
        return self.args.gateway.tls_certificate is not None

    @property
    def _prefix(self) -> str:
        return key_prefix(self.args, self.name)

    @property
    def _place(self) -> str:
        """The folder below a host's root, which no other stack has."""
        return f"{pulumi.get_project()}/{pulumi.get_stack()}/{self.name}"

    @property
    def _unit(self) -> str:
        """What the names of containers begin with."""
        return f"{self.name}-{pulumi.get_stack()}"

    def options(self, *after: pulumi.Resource, **more: Any) -> ResourceOptions:
        return ResourceOptions(parent=self.component, depends_on=list(after), **more)

    def _hosts(self) -> Output[list[docker.Host]]:
        """The hosts with their addresses, which may be other resources' outputs, checked together."""
        given = self.args.section(DockerSettings)

        def checked(addresses: list[Any]) -> list[docker.Host]:
            hosts = [
                docker.Host(
                    name=host.name,
                    address=host.address,
                    ip=str(ip),
                    bind_ip=str(bind_ip or ip),
                    memory_mib=host.memory_mib,
                    cpus=host.cpus,
                    rest_port=host.rest_port,
                    grpc_port=host.grpc_port,
                )
                for host, ip, bind_ip in zip(given.hosts, addresses[::2], addresses[1::2], strict=True)
            ]
            problems = docker.host_problems(hosts, hosts[self._first], given.port, given.grpc_port, f"{self.path}.docker")
            if problems:
                raise compiling.run_error(problems)
            return hosts

        return Output.all(*(value for host in given.hosts for value in (host.ip, host.bind_ip))).apply(checked)

    def _server(self, place: "_Place", host: Output[docker.Host], published: PublishedRelease) -> DockerServer:
        given, digest = self.args.section(DockerSettings), self.made.digest()
        folder = DockerModelFolder(
            f"{self.name}-{place.name}-model",
            host=place.engine,
            image=place.image("fetch", self.args.images.fetch),
            root=given.directory,
            folder=digest.apply(lambda known: docker.model_folder(self._place, place.name, known)),
            digest=digest,
            cache_directory=self.made.cache_directory,
            store=store_of(self.args, pull=True),
            bucket=self.args.bucket,
            prefix=self._prefix,
            deadline_seconds=given.deadline_seconds,
            opts=self.options(published),
        )
        inputs = host.apply(docker.server)
        return DockerServer(
            f"{self.name}-{place.name}-server",
            host=place.engine,
            service=self.name,
            image=place.image("serving", self.args.images.serving),
            probe_image=place.image("fetch", self.args.images.fetch),
            model_name=self.model_name,
            directory=folder.directory,
            digest=digest,
            cache_directory=self.made.cache_directory,
            **{key: inputs.apply(itemgetter(key)) for key in docker.SERVER_INPUTS},
            deadline_seconds=given.deadline_seconds,
            drain_seconds=self.args.gateway.timeout_seconds,
            opts=self.options(folder),
        )

    def _described(self, known: Mapping[str, Any], secrets: Mapping[str, Any] | None = None) -> Gateway:
        """The gateway. known: hosts, and release, plan and ports where its servers are wanted."""
        hosts, given = known["hosts"], self.args.section(DockerSettings)
        plan: ServicePlan | None = known.get("plan")
        weights = plan.weights if plan else ()
        servers = [
            Server(host.ip, int(rest), int(grpc), weight)
            for host, (rest, grpc), weight in zip(hosts, known.get("ports", ()), weights, strict=False)
        ]
        return docker.gateway(
            self._unit,
            self.model_name,
            known["release"].manifest.version if "release" in known else 0,
            servers,
            hosts[self._first],
            port=given.port,
            grpc_port=given.grpc_port,
            balancing=self.args.balancing,
            options=options_of(self.args.gateway, secrets, device_requests=plan.device_requests if plan else 0),
            tls=self._tls,
        )

    def _files(self, known: Mapping[str, Any], secrets: Mapping[str, Any]) -> dict[str, str]:
        gateway = self._described(known, secrets)
        live = docker.live_files(gateway, str(secrets["tls_certificate"] or ""), str(secrets["tls_key"] or ""))
        return {**docker.static_files(gateway), **live}

    def _gateway(self, hosts: Output[list[docker.Host]], known: Output[dict[str, Any]]) -> pulumi_docker.Container:
        place, given = list(self.places.values())[self._first], self.args.section(DockerSettings)
        secrets: Output[dict[str, Any]] = Output.secret(access_of(self.args.gateway, f"{self.path}.gateway"))
        contents = Output.all(known, secrets).apply(lambda it: self._files(*it))
        files = DockerFiles(
            f"{self.name}-gateway-files",
            host=place.engine,
            image=place.image("fetch", self.args.images.fetch),
            root=given.directory,
            folder=docker.gateway_folder(self._place),
            group=int(docker.GATEWAY_USER),
            files=contents,
            opts=self.options(),
        )
        # It does not depend on the servers, so that an update of these leaves it alone, and a preview knows that.
        inputs = hosts.apply(
            lambda it: docker.gateway_container(
                self.name, self._described({"hosts": it}), f"{given.directory}/{docker.gateway_folder(self._place)}"
            )
        )
        container = pulumi_docker.Container(
            f"{self.name}-gateway",
            image=place.image("gateway", self.args.images.gateway),
            **{key: inputs.apply(itemgetter(key)) for key in docker.GATEWAY_INPUTS},
            opts=self.options(files, provider=place.provider, delete_before_replace=True),
        )
        DockerGate(
            f"{self.name}-gateway-gate",
            host=place.engine,
            image=place.image("fetch", self.args.images.fetch),
            container=container.id,
            admin_port=docker.admin_port(given.port),
            endpoints=known.apply(lambda it: docker.endpoints(self._described(it))),
            revision=Output.unsecret(contents.apply(docker.revision)),
            deadline_seconds=given.deadline_seconds,
            opts=self.options(container, files),
        )
        return container

    def _served(self, hosts: Output[list[docker.Host]], servers: list[DockerServer], container: pulumi_docker.Container) -> Served:
        given, scheme = self.args.section(DockerSettings), "https" if self._tls else "http"
        # Who waits for the address waits for the gateway.
        ip = Output.all(hosts, container.id).apply(lambda it: str(it[0][self._first].ip))
        place = Output.all(hosts, *(server.container for server in servers)).apply(
            lambda known: {
                "platform": "docker",
                "service": self.name,
                "hosts": [
                    {**it.engine, "ip": str(host.ip), "container": found, "speed": wanted.speed}
                    for it, host, found, wanted in zip(self.places.values(), known[0], known[1:], given.hosts, strict=True)
                ],
                "gateway": {"host": list(self.places)[self._first], "container": docker.gateway_name(self._unit)},
            }
        )
        return Served(
            ip.apply(lambda it: f"{scheme}://{docker.spelled(it, given.port)}"),
            ip.apply(lambda it: docker.spelled(it, given.grpc_port)),
            place,
            (*servers, container),
        )


class _Place:
    """A host: its engine, and the images there."""

    def __init__(self, service: _Service, name: str, address: str) -> None:
        options = list(service.args.section(DockerSettings).ssh_options)
        self.service, self.name, self.engine = service, name, docker.engine(name, address, options)
        self.provider = pulumi_docker.Provider(f"{service.name}-{name}", host=address, ssh_opts=options, opts=service.options())
        self._images: dict[str, pulumi_docker.RemoteImage] = {}

    def image(self, part: str, name: str) -> Output[str]:
        """The id of an image on this host, pulled where it is not there. It stays when the stack goes: others may use it."""
        if part not in self._images:
            resource = f"{self.service.name}-{self.name}-{part}"
            opts = self.service.options(provider=self.provider)
            self._images[part] = pulumi_docker.RemoteImage(resource, name=name, keep_locally=True, opts=opts)
        return self._images[part].image_id
