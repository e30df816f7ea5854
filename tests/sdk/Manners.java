// How java.net.http.HttpClient behaves when a gateway refuses, breaks off or is late: how often it sends one POST. Run as
// `java Manners.java`; a small server on loopback answers as it is told by the path. Prints lines without times or ports,
// as manners.py does; docs/clients.md has them.
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;

public class Manners {
    static final List<Integer> STATUSES = List.of(402, 409, 429, 502, 503, 504);
    static final List<String> FIELDS = List.of("as-it-is", "retry-after=1", "x-should-retry=false", "x-should-retry=true");
    static final List<String> FAULTS =
            List.of("reset", "reset-of-kept-connection", "cut-in-json", "cut-in-stream", "own-timeout");
    static final Duration OWN_TIMEOUT = Duration.ofSeconds(1);

    /** Of each case: for each attempt, whether it came on a connection that was used before. */
    static final Map<String, List<Boolean>> SEEN = new ConcurrentHashMap<>();

    public static void main(String[] arguments) throws Exception {
        var server = new ServerSocket(0, 200, InetAddress.getByName("127.0.0.1"));
        inBackground(() -> {
            while (true) {
                var socket = server.accept();
                inBackground(() -> serve(socket));
            }
        });
        var base = "http://127.0.0.1:" + server.getLocalPort() + "/";
        var running = new ArrayList<CompletableFuture<?>>();
        var refused = STATUSES.stream().flatMap(status -> FIELDS.stream().map(field -> status + "+" + field)).toList();
        Stream.of(refused, FAULTS, List.of("once-3", "once-3600")).flatMap(List::stream)
                .forEach(name -> running.add(CompletableFuture.runAsync(() -> call(base, name))));
        for (var one : running) one.join();

        for (var field : FIELDS) say(field + " " + counts(STATUSES.stream().map(status -> status + "+" + field).toList()));
        say(counts(FAULTS));
        for (var name : List.of("once-3", "once-3600")) if (SEEN.get(name).size() != 1) throw new Error(name);
        say("retry-after=3:not-repeated retry-after=3600:not-repeated");
        var request = HttpRequest.newBuilder(URI.create(base)).build();
        var whole = request.timeout().map(Duration::toString).orElse("none");
        say("default-timeout connect=" + client().connectTimeout().map(Duration::toString).orElse("none") + " whole=" + whole);
        System.exit(0);
    }

    static HttpClient client() {
        return HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    }

    static void call(String base, String name) {
        var client = client();
        var request = HttpRequest.newBuilder(URI.create(base + name + "/api/v1/video-analyses/va_1/chat"))
                .header("Authorization", "Bearer mvgw_example_key").header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString("{\"messages\":[{\"role\":\"user\",\"content\":\"Which?\"}]}"));
        if (name.equals("own-timeout")) request.timeout(OWN_TIMEOUT);
        try {
            for (var time = 0; time < (name.equals("reset-of-kept-connection") ? 2 : 1); time++)
                client.send(request.build(), BodyHandlers.ofString());
        } catch (IOException | InterruptedException failure) {
            // As it is meant to.
        }
    }

    static String counts(List<String> names) {
        return names.stream().map(name -> {
            var attempts = SEEN.get(name);
            var label = name.split("\\+")[0];
            if (!name.equals("reset-of-kept-connection")) return label + ":" + attempts.size();
            // The first call was to make a connection; the second was sent on one that is kept.
            return label + ":" + (attempts.get(1) ? attempts.size() - 1 : "not-kept");
        }).collect(Collectors.joining(" "));
    }

    static void say(String text) {
        System.out.println("java.net.http | " + text);
    }

    // The server.

    static void serve(Socket socket) throws Exception {
        var in = new BufferedInputStream(socket.getInputStream());
        var out = socket.getOutputStream();
        for (var kept = false; ; kept = true) {
            var head = head(in);
            if (head == null) return;
            var length = Stream.of(head.split("\r\n")).filter(line -> line.toLowerCase().startsWith("content-length:"))
                    .mapToInt(line -> Integer.parseInt(line.split(":")[1].trim())).findFirst().orElse(0);
            in.readNBytes(length);
            var name = head.split("/")[1];
            var attempts = SEEN.computeIfAbsent(name, any -> new ArrayList<>());
            attempts.add(kept);
            switch (name) {
                case "reset" -> reset(socket);
                case "reset-of-kept-connection" -> {
                    if (attempts.size() == 2) reset(socket);
                    else answer(out, 200, "", "{\"status\":\"completed\"}");
                }
                case "cut-in-json" -> {
                    write(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"id\":");
                    Thread.sleep(500);
                    reset(socket);
                }
                case "cut-in-stream" -> {
                    write(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                            + "a\r\ndata: {}\n\n\r\n");
                    Thread.sleep(500);
                    reset(socket);
                }
                case "own-timeout" -> {
                    Thread.sleep(OWN_TIMEOUT.multipliedBy(2).toMillis());
                    reset(socket);
                }
                case "once-3", "once-3600" -> answer(out, 429, "Retry-After: " + name.substring(5) + "\r\n", refusal());
                default -> {
                    var field = name.split("\\+")[1];
                    var given = field.equals("as-it-is") ? "" : field.replace("=", ": ") + "\r\n";
                    answer(out, Integer.parseInt(name.split("\\+")[0]), given, refusal());
                }
            }
            if (socket.isClosed()) return;
        }
    }

    static String refusal() {
        return "{\"error\":{\"message\":\"…\",\"type\":\"upstream_error\",\"code\":\"upstream_timeout\",\"param\":null}}";
    }

    static String head(InputStream in) throws IOException {
        var head = new StringBuilder();
        while (!head.toString().endsWith("\r\n\r\n")) {
            var next = in.read();
            if (next < 0) return null;
            head.append((char) next);
        }
        return head.toString();
    }

    static void answer(OutputStream out, int status, String fields, String body) throws IOException {
        var length = body.getBytes(StandardCharsets.UTF_8).length;
        write(out, "HTTP/1.1 " + status + " X\r\nContent-Type: application/json\r\nContent-Length: " + length
                + "\r\nx-request-id: r1\r\n" + fields + "\r\n" + body);
    }

    static void write(OutputStream out, String text) throws IOException {
        out.write(text.getBytes(StandardCharsets.UTF_8));
        out.flush();
    }

    static void reset(Socket socket) throws IOException {
        socket.setSoLinger(true, 0);
        socket.close();
    }

    interface Work {
        void go() throws Exception;
    }

    static void inBackground(Work work) {
        var thread = new Thread(() -> {
            try {
                work.go();
            } catch (Exception gone) {
                // A client that has left.
            }
        });
        thread.setDaemon(true);
        thread.start();
    }
}
