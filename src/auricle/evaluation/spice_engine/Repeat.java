package auricle;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;

/**
 * Calls the main method of another program again and again in one process, so that the program loads its tables once.
 * The only argument is the name of the program's class. Each line of standard input holds the arguments of one call,
 * with tabs between them. After each call the line "done" goes to standard output. Everything that the program prints
 * goes to standard error. An error of the program ends this process too.
 *
 * <p>Compiled by: javac --release 8 -g:none -d . Repeat.java
 */
public final class Repeat {
    private Repeat() {}

    public static void main(String[] arguments) {
        PrintStream answers = System.out;
        System.setOut(System.err);
        try {
            Method program = Class.forName(arguments[0]).getMethod("main", String[].class);
            BufferedReader calls = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String call = calls.readLine(); call != null; call = calls.readLine()) {
                program.invoke(null, (Object) call.split("\t"));
                answers.println("done");
                answers.flush();
            }
        } catch (Throwable error) {
            error.printStackTrace();
            System.exit(1);
        }
        System.exit(0); // The program may have left threads behind.
    }
}
