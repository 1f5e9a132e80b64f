import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Stands in for upstream's standalone OpenWhisk in the tests of the role
 * openwhisk_lean: it takes the same arguments, reads users, port and address from the
 * same files, and serves the few routes that a deployment asks. Its actions all add.
 */
public final class Standalone {
    private static final Map<String, String> ACTIONS = new TreeMap<>();
    private static String conf;

    public static void main(String[] args) throws IOException {
        conf = Files.readString(Path.of(after(args, "--config-file")));
        if (!conf.contains("include classpath(\"standalone.conf\")")) {
            throw new IllegalArgumentException("standalone.conf is not included");
        }
        if (!Files.readString(Path.of(after(args, "--manifest"))).contains("runtimes")) {
            throw new IllegalArgumentException("no runtimes");
        }
        int port = Integer.parseInt(after(args, "--port"));
        String address = setting("controller.interface");
        HttpServer server = HttpServer.create(new InetSocketAddress(address, port), 64);
        server.createContext("/", Standalone::answer);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
    }

    private static String after(String[] args, String name) {
        for (int i = 0; i < args.length - 1; i++) {
            if (args[i].equals(name)) {
                return args[i + 1];
            }
        }
        throw new IllegalArgumentException(name + " is missing");
    }

    private static String setting(String name) {
        Matcher found = Pattern.compile(Pattern.quote(name) + " = \"(.*)\"").matcher(conf);
        if (!found.find()) {
            throw new IllegalArgumentException(name + " is not set");
        }
        return found.group(1);
    }

    private static String namespaceOf(HttpExchange call) {
        String token = call.getRequestHeaders().getFirst("Authorization");
        if (token == null) {
            return null;
        }
        String key = new String(Base64.getDecoder().decode(token.substring(6)));
        if (key.equals(setting("guest"))) {
            return "guest";
        }
        return key.equals(setting("whisk-system")) ? "whisk.system" : null;
    }

    private static synchronized void answer(HttpExchange call) throws IOException {
        String body = new String(call.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
        String path = call.getRequestURI().getPath();
        String namespace = namespaceOf(call);
        if (path.equals("/api/v1")) {
            reply(call, 200, "{\"description\": \"OpenWhisk API\", \"build\": \"standalone\"}");
        } else if (namespace == null) {
            reply(call, 401, "{\"error\": \"The supplied authentication is invalid.\", \"code\": \"1\"}");
        } else if (path.equals("/api/v1/namespaces")) {
            reply(call, 200, "[\"" + namespace + "\"]");
        } else if (path.matches("/api/v1/namespaces/_/actions")) {
            reply(call, 200, "[" + String.join(",", ACTIONS.values()) + "]");
        } else if (path.startsWith("/api/v1/namespaces/_/actions/")) {
            action(call, path.substring(path.lastIndexOf('/') + 1), body);
        } else {
            reply(call, 404, "{\"error\": \"The requested resource could not be found.\", \"code\": \"1\"}");
        }
    }

    private static void action(HttpExchange call, String name, String body) throws IOException {
        String method = call.getRequestMethod();
        if (method.equals("PUT")) {
            ACTIONS.put(name, "{\"name\": \"" + name + "\", \"namespace\": \"guest\", \"version\": \"0.0.1\","
                + "\"exec\": {\"kind\": \"nodejs:20\"}, \"annotations\": [], \"publish\": false}");
            reply(call, 200, ACTIONS.get(name));
        } else if (!ACTIONS.containsKey(name)) {
            reply(call, 404, "{\"error\": \"The requested resource does not exist.\", \"code\": \"1\"}");
        } else if (method.equals("POST")) {
            reply(call, 200, "{\"activationId\": \"0123456789abcdef0123456789abcdef\","
                + "\"namespace\": \"guest\", \"name\": \"" + name + "\", \"version\": \"0.0.1\","
                + "\"subject\": \"guest\", \"start\": 1, \"end\": 2, \"duration\": 1, \"logs\": [],"
                + "\"annotations\": [], \"publish\": false, \"response\":"
                + "{\"status\": \"success\", \"success\": true, \"result\": {\"sum\": "
                + (number(body, "a") + number(body, "b")) + "}}}");
        } else {
            reply(call, 200, method.equals("DELETE") ? ACTIONS.remove(name) : ACTIONS.get(name));
        }
    }

    private static long number(String body, String name) {
        Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*(\\d+)").matcher(body);
        return found.find() ? Long.parseLong(found.group(1)) : 0;
    }

    private static void reply(HttpExchange call, int status, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        call.getResponseHeaders().set("Content-Type", "application/json");
        call.sendResponseHeaders(status, bytes.length);
        call.getResponseBody().write(bytes);
        call.close();
    }
}
